"""What audio is: recognise, verify, decode, join, subtitle. No I/O beyond files."""
