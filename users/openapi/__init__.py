"""The API's contract as a document and as objects, its changelog, code samples, and a page as Markdown. No Flask."""
