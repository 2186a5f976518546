"""A small sample world, drawn from a seed: pictures, pages, crawl files and metadata sources in many languages."""
