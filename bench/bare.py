"""What a job would be without the house: ask the vendor, keep the audio, write one row. `python -m bench.bare JOBS`"""

import json
import os
import sys
import time

import boto3
import httpx

s3 = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
dynamodb = boto3.client("dynamodb", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
http = httpx.Client(base_url=os.environ["VOICEAI_BASE_URL"], headers={"Authorization": "Bearer key"})


def job(number: int) -> None:
    """Speak one text."""
    text = os.environ["TEXT"].format(number=number)
    answer = http.post("/api/v1/tts/speech", json={"text": text, "audio_format": "wav"})
    answer.raise_for_status()
    key = f"bare/{number}.wav"
    s3.put_object(Bucket=os.environ["BUCKET"], Key=key, Body=answer.content, ContentType="audio/wav")
    row = {"pk": {"S": f"bare#{number}"}, "sk": {"S": "job"}, "key": {"S": key}, "text": {"S": text}}
    dynamodb.put_item(TableName=os.environ["TABLE"], Item=row)


job(-1)  # the first one opens connections and loads models
wall, cpu = time.perf_counter(), time.process_time()
for each in range(int(sys.argv[1])):
    job(each)
print(json.dumps({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}))
