"""One module per rule, with a function `find`; the file's name is the rule's. docs/check.md lists them."""
