"""The conformance kit: does a worker program honour what Tinkerbell's server expects of it?

``engine`` stands in for the docker engine, ``scene`` sets a small stage (server, engine, worker)
for one rule, ``rules`` is the list of rules, ``kit`` runs them and ``command`` prints the result.
"""
