"""Read Wikipedia dumps: XML, CirrusSearch, wikitext, bzip2."""
