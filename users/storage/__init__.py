"""The database: tables, column types, migrations, and reads and writes in bounded time. No rule of the product."""
