"""Where music comes from and what happens to it: catalogues, degradations, the pipeline.

Knows `tfrestore.audio` and no model. `catalogue` says which tracks there are (with `fma` and `demo`
beside it), `gaps` what of them is lost, `pipeline` joins both into batches.
"""
