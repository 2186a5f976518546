"""A small synthetic web, generated from a seed: pictures, pages, crawl files and metadata sources in 18 languages."""
