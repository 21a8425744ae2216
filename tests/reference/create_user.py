import os
import requests

api_key = os.environ["FREDDY_API_KEY"]

response = requests.post(
    "https://api.aitronos.com/v1/user/",
    headers={"X-API-Key": api_key},
    json={'email': 'your_email', 'password': 'your_password'}
)

print(response.json())
