"""OCI images written reproducibly and read back, without a docker engine.

- ``layer``    files → a tar layer whose bytes depend on its content alone
- ``image``    layers + config → manifests, indexes and an image layout on disk
- ``content``  image layouts → what a registry serves
"""
