-- record {runs = [{id, job, …, state, started_at?, ended_at?, fields}], keep?}: runs that another scheduler ran, whole rows. A settled
-- run is never changed. `keep`: how many of the job's runs stay.
function calls.record(a)
  for _, r in ipairs(a.runs) do
    local key = k('run:' .. r.id)
    local state = redis.call('HGET', key, 'state')
    if not state then put_run(r) end
    if not state or state == 'pending' or state == 'queued' or state == 'running' or state == 'retrying' then
      if #r.fields > 0 then redis.call('HSET', key, unpack(r.fields)) end
      if r.verdict then
        settle_run(r.id, r.verdict, r.reason)
        -- It ended when its own scheduler says, not when we heard of it.
        if r.ended_at then redis.call('HSET', key, 'ended_at', r.ended_at) end
      else
        redis.call('HSET', key, 'state', r.state)
      end
    end
    if a.keep then
      for _, old in ipairs(redis.call('ZRANGE', k('ledger:' .. r.job), 0, -a.keep - 1)) do
        redis.call('DEL', k('run:' .. old), k('log:' .. old))
        redis.call('ZREM', k('ledger:' .. r.job), old)
        redis.call('ZREM', k('ledger'), old)
      end
    end
  end
  return 1
end

-- prune {limit, keep_each} -> how many. Index entries whose row has expired, and the oldest settled runs of a job that
-- has more than `keep_each`.
function calls.prune(a)
  local gone = 0
  local function drop(job, id)
    redis.call('ZREM', k('ledger'), id)
    if job then redis.call('ZREM', k('ledger:' .. job), id) end
    gone = gone + 1
  end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', k('ledger'), '-inf', int(NOW - KEEP), 'LIMIT', 0, a.limit)) do
    if redis.call('EXISTS', k('run:' .. id)) == 0 then drop(nil, id) end
  end
  for _, job in ipairs(redis.call('HKEYS', k('last'))) do
    local index = k('ledger:' .. job)
    local over = redis.call('ZCARD', index) - a.keep_each
    for _, id in ipairs(redis.call('ZRANGE', index, 0, math.min(a.limit, math.max(over, 1)) - 1)) do
      local ended, tier, state = unpack(redis.call('HMGET', k('run:' .. id), 'ended_at', 'tier', 'state'))
      if not state then
        drop(job, id)
      elseif over > 0 and ended and not (tier == 'oneiric' and state == 'failed') then
        redis.call('DEL', k('run:' .. id), k('log:' .. id))
        drop(job, id)
      end
    end
  end
  return gone
end

return calls[ARGV[1]](cjson.decode(ARGV[2]))
