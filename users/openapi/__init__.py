"""The API's contract as a document and as objects, and code samples made from it. No Flask."""
