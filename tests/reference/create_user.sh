curl -X POST "https://api.aitronos.com/v1/user/" \
  -H "X-API-Key: $FREDDY_API_KEY" \
  -H "Content-Type: application/json" \
  -d '{ "email": "your_email", "password": "your_password" }'
