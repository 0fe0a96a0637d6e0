"""The client's parts: a served model as a restorer of recordings, over gRPC or REST."""
