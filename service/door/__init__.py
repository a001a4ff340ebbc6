"""What stands between the network and the routes: keys, scopes, limits, guards against browsers and slow clients."""
