"""HTTP/1.1 to plain `http://` servers on connections of our own."""
