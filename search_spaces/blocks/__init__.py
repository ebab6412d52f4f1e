"""One file a block family; a class decorated with `@block("kind")` is a kind of block, its keyword-only arguments its knobs."""
