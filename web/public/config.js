// The service answers this path itself, with the address of its API. This file stands in for it where
// only the files are served.
window.__V2C__ = window.__V2C__ || { apiBase: "" };
