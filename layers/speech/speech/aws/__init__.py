"""DynamoDB, S3, SQS, Secrets Manager and EventBridge behind the ports."""
