"""A page in the browser that shows what models predict."""
