-- declare {jobs = [{job, fingerprint, next?}], revision} -> flat list of job, why: those to stand aside for.
-- A new job's cursor is now; an edited one's goes on from max(cursor, now); an unchanged one's stays.
function calls.declare(a)
  local aside = {}
  for _, d in ipairs(a.jobs) do
    local key = k('job:' .. d.job)
    local fingerprint, revision, cursor = unpack(redis.call('HMGET', key, 'fingerprint', 'revision', 'cursor'))
    local older = revision and a.revision < tonumber(revision)
    local differs = fingerprint ~= d.fingerprint
    if fingerprint and differs and (older or a.revision == tonumber(revision)) then
      aside[#aside + 1] = d.job
      aside[#aside + 1] = older and 'a newer revision is in force' or 'another definition has the same revision'
    else
      if differs then
        redis.call('HSET', key, 'fingerprint', d.fingerprint, 'cursor', int(math.max(NOW, tonumber(cursor or 0))))
        if d.next then redis.call('ZADD', k('next'), d.next, d.job) else redis.call('ZREM', k('next'), d.job) end
      elseif d.next then
        redis.call('ZADD', k('next'), 'NX', d.next, d.job)
      end
      if not older then redis.call('HSET', key, 'revision', int(a.revision)) end
    end
  end
  return aside
end

-- forget {start, limit, revision} -> the cursor of the next call, '0' when all were seen. The jobs that only an older revision
-- declared: whatever this one has was declared just before, or is a newer one's.
function calls.forget(a)
  local answer = redis.call('ZSCAN', k('next'), a.start, 'COUNT', a.limit)
  for i = 1, #answer[2], 2 do
    local job = answer[2][i]
    if tonumber(redis.call('HGET', k('job:' .. job), 'revision') or 0) < a.revision then
      redis.call('ZREM', k('next'), job)
      redis.call('DEL', k('job:' .. job))
    end
  end
  return answer[1]
end

-- due {limit} -> {now, milliseconds to the first fire after these or -1, then flat job, fingerprint, cursor}: the jobs with a fire
-- at or before now.
function calls.due(a)
  local jobs = redis.call('ZRANGEBYSCORE', k('next'), '-inf', NOW_TEXT, 'LIMIT', 0, a.limit)
  local following = redis.call('ZRANGE', k('next'), #jobs, #jobs, 'WITHSCORES')
  local found = { NOW_TEXT, following[2] and math.max(0, tonumber(following[2]) - NOW) or -1 }
  for _, job in ipairs(jobs) do
    local fingerprint, cursor = unpack(redis.call('HMGET', k('job:' .. job), 'fingerprint', 'cursor'))
    for _, v in ipairs({ job, fingerprint, cursor }) do found[#found + 1] = v end
  end
  return found
end

local function advance(one)
  local key = k('job:' .. one.job)
  local fingerprint, cursor = unpack(redis.call('HMGET', key, 'fingerprint', 'cursor'))
  if fingerprint ~= one.fingerprint or tonumber(cursor) ~= one.from or one.to > NOW then return 0 end
  for _, r in ipairs(one.runs) do
    local new, published = put_run(r, not r.verdict)
    if new and r.verdict then settle_run(r.id, r.verdict, r.reason) end
    if new and not r.verdict and not published then redis.call('ZADD', k('outbox'), NOW_TEXT, r.id) end
  end
  redis.call('HSET', key, 'cursor', int(one.to))
  if one.next then redis.call('ZADD', k('next'), one.next, one.job) else redis.call('ZREM', k('next'), one.job) end
  return 1
end

-- advance {advances = [{job, fingerprint, from, to, next?, runs}]} -> for each 1, or 0 if cursor or schedule changed meanwhile.
-- The fires up to `to`, their outbox entries or messages, and the cursor in one step; a fire in the store's future is refused.
function calls.advance(a)
  local done = {}
  for i, one in ipairs(a.advances) do done[i] = advance(one) end
  finish()
  return done
end

return calls[ARGV[1]](cjson.decode(ARGV[2]))
