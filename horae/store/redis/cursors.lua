-- declare {jobs = [{job, fingerprint, next?}], revision} -> flat list of job, why: those to stand aside for.
-- A new job's cursor is now; an edited one's goes on from now; an unchanged one's stays. Jobs of an older revision that
-- are not among these are forgotten.
function calls.declare(a)
  local aside, here = {}, {}
  for _, d in ipairs(a.jobs) do
    local key = k('job:' .. d.job)
    here[d.job] = true
    local fingerprint, revision = unpack(redis.call('HMGET', key, 'fingerprint', 'revision'))
    local older = revision and a.revision < tonumber(revision)
    local differs = fingerprint ~= d.fingerprint
    if fingerprint and differs and (older or a.revision == tonumber(revision)) then
      aside[#aside + 1] = d.job
      aside[#aside + 1] = older and 'a newer revision is in force' or 'another definition has the same revision'
    else
      if differs then
        redis.call('HSET', key, 'fingerprint', d.fingerprint, 'cursor', int(NOW))
        if d.next then redis.call('ZADD', k('next'), d.next, d.job) else redis.call('ZREM', k('next'), d.job) end
      elseif d.next then
        redis.call('ZADD', k('next'), 'NX', d.next, d.job)
      end
      if not older then redis.call('HSET', key, 'revision', int(a.revision)) end
    end
  end
  for _, job in ipairs(redis.call('ZRANGE', k('next'), 0, -1)) do
    local revision = tonumber(redis.call('HGET', k('job:' .. job), 'revision') or 0)
    if not here[job] and revision < a.revision then
      redis.call('ZREM', k('next'), job)
      redis.call('DEL', k('job:' .. job))
    end
  end
  return aside
end

-- due {limit} -> flat list of job, fingerprint, cursor: the jobs with a fire at or before now.
function calls.due(a)
  local found = {}
  for _, job in ipairs(redis.call('ZRANGEBYSCORE', k('next'), '-inf', int(NOW), 'LIMIT', 0, a.limit)) do
    local fingerprint, cursor = unpack(redis.call('HMGET', k('job:' .. job), 'fingerprint', 'cursor'))
    for _, v in ipairs({ job, fingerprint, cursor }) do found[#found + 1] = v end
  end
  return found
end

-- advance {job, fingerprint, from, to, next?, runs} -> 1, or 0 if cursor or schedule changed meanwhile. The fires up to
-- `to`, their outbox entries and the cursor in one step; a fire in the store's future is refused.
function calls.advance(a)
  local key = k('job:' .. a.job)
  local fingerprint, cursor = unpack(redis.call('HMGET', key, 'fingerprint', 'cursor'))
  if fingerprint ~= a.fingerprint or tonumber(cursor) ~= a.from or a.to > NOW then return 0 end
  for _, r in ipairs(a.runs) do
    if put_run(r) then
      if r.verdict then settle_run(r.id, r.verdict, r.reason) else redis.call('ZADD', k('outbox'), int(NOW), r.id) end
    end
  end
  redis.call('HSET', key, 'cursor', int(a.to))
  if a.next then redis.call('ZADD', k('next'), a.next, a.job) else redis.call('ZREM', k('next'), a.job) end
  return 1
end

return calls[ARGV[1]](cjson.decode(ARGV[2]))
