"""Where music comes from and what happens to it: catalogues, degradations, the pipeline.

Knows `tfrestore.audio` and no model. `tracks` says what a track is and which a folder holds,
`catalogue` opens all that music comes as (`fma`, `demo` and others), `excerpts` says how a part of
a track is read, `gaps` what of it is lost, `pipeline` joins these into batches. `mp3_pairs` makes
batches of music and its MP3, of what `encoded_pairs` encodes as it goes or of what `preparation`
has put into `shards`. `stem_folders` finds `songs` with their stems, which `stem_mixes` mixes:
`stem_draws` says which, and `source_activity` where they are not silent.
"""
