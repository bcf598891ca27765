-- accept {runs, hold} -> a list of 1 and 0: 0 where the run was known. Runs and their outbox entries, all or none.
-- `hold`: milliseconds for which the relay leaves entries that are due now to the caller.
function calls.accept(a)
  local known = {}
  for i, r in ipairs(a.runs) do
    known[i] = put_run(r) and 1 or 0
    if known[i] == 1 then
      local due = tonumber(r.due or 0)
      redis.call('ZADD', k('outbox'), due > NOW and int(due) or int(NOW + a.hold), r.id)
    end
  end
  return known
end

-- take {limit, hold} -> flat list of id, job, attempt, scheduled_for, lane, context, metadata, provider.
-- What is due, oldest first; nobody else takes it for `hold` milliseconds.
function calls.take(a)
  local found = {}
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', k('outbox'), '-inf', int(NOW), 'LIMIT', 0, a.limit)) do
    local row = redis.call('HMGET', k('run:' .. id), 'job', 'attempt', 'scheduled_for', 'lane', 'context', 'metadata', 'provider')
    if row[1] then
      redis.call('ZADD', k('outbox'), int(NOW + a.hold), id)
      found[#found + 1] = id
      for i = 1, 7 do found[#found + 1] = row[i] end
    else
      redis.call('ZREM', k('outbox'), id)
    end
  end
  return found
end

-- published {runs = [{id, attempt}]}: forget the entries, unless the run was handed out again meanwhile.
function calls.published(a)
  for _, r in ipairs(a.runs) do
    local key = k('run:' .. r.id)
    local state, attempt = unpack(redis.call('HMGET', key, 'state', 'attempt'))
    if tonumber(attempt) == r.attempt and (state == 'pending' or state == 'retrying') then
      redis.call('ZREM', k('outbox'), r.id)
      redis.call('HSET', key, 'state', 'queued')
      tell(r.id, 'published', attempt)
    end
  end
  return 1
end

return calls[ARGV[1]](cjson.decode(ARGV[2]))
