"""The API's contract as a document, read and shown, and example calls made from it. No Flask."""
