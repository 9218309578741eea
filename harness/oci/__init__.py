"""OCI images written reproducibly, without a docker engine.

- ``layer``  files → a tar layer whose bytes depend on its content alone
- ``image``  layers + config → manifests, indexes and an image layout on disk
"""
