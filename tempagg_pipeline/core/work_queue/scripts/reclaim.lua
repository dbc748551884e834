-- reclaim: takes expired leases back; returns how many.
return reclaim()
