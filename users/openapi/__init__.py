"""The API's contract as a document and as objects, code samples made from it, and a page as Markdown. No Flask."""
