"""Films on many machines, with Ray: the only subpackage that imports Ray, and only when it is used."""
