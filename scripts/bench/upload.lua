-- For wrk: a body of 8 MiB with each request.
wrk.method = "POST"
wrk.body = string.rep("grace ", 8 * 1024 * 1024 / 6)
