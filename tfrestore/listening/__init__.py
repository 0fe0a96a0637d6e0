"""The listening test: a static page for listeners' ears, and the statistics of their answers.

`tracks` finds which recordings belong together, `excerpts` cuts and `loudness` levels them,
`anchor` makes MUSHRA's anchors, `page_folder` writes the page (whose files are in `page/`), `key`
is what connects the page's opaque names with systems, `results` reads what listeners send,
`statistics` and `report` make the tables.
"""
