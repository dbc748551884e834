-- now: the server's clock.
return NOW
