-- move {job, provider}: write the move record of that job, or with '*' of all jobs.
function calls.move(a)
  redis.call('HSET', k('moves'), a.job, a.provider)
  redis.call('HSET', k('moved_at'), a.job, NOW_TEXT)
  return 1
end

-- end_move {job, provider} -> 1, or 0 if the job has no such record. Its runs go again where the code says.
function calls.end_move(a)
  if redis.call('HGET', k('moves'), a.job) ~= a.provider then return 0 end
  redis.call('HDEL', k('moves'), a.job)
  redis.call('HDEL', k('moved_at'), a.job)
  return 1
end

return respond()
