"""Films on many machines, with Ray: the only room that imports Ray, and only when it is used."""
