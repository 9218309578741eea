"""Many machines that are nothing but packets and calls, against one lab's services.

* ``command`` — ``hooklab storm``: starts the lab in namespaces of its own, prints the table.
* ``cable`` — two namespaces, and what connects them.
* ``lab`` — the real services on one end of a cable.
* ``machines`` — the simulated machines, another process in another namespace, on its other end.
* ``limits`` — what each of the two processes must be allowed.
* ``plan`` — what both must agree on: names, addresses, steps.
"""
