-- The cursor of each job: up to which instant its fires have a row.

-- The text of milliseconds if it is an instant that Python can represent, else nil: the row may be damaged.
local function instant(text)
  local millis = tonumber(text or nil)
  return millis and millis > -62135596800000 and millis < 253402300800000 and text or nil
end

-- declare {jobs = [{job, fingerprint, next?, since?, next_after_since?, schedule, offset}], revision} -> JSON: {job: why} of the jobs
-- that the caller must not fire. The cursor of a new job is now; that of an edited job becomes max(cursor, now); that of an unchanged job
-- stays. The caller gives `since` if it has seen the schedule here before: then a lost cursor is since, and a lost next fire is the first
-- one after it.
function calls.declare(a)
  local aside = {}
  for _, d in ipairs(a.jobs) do
    local key = k('job:' .. d.job)
    local fingerprint, revision, cursor = unpack(redis.call('HMGET', key, 'fingerprint', 'revision', 'cursor'))
    cursor, revision = instant(cursor), tonumber(revision) and revision
    local older = revision and a.revision < tonumber(revision)
    local differs = fingerprint ~= d.fingerprint
    if fingerprint and differs and (older or a.revision == tonumber(revision)) then
      aside[d.job] = older and 'a newer revision is in force' or 'another definition has the same revision'
    else
      if differs then
        local lost = not fingerprint and d.since
        local next_fire = d.next
        if lost then next_fire = d.next_after_since end
        redis.call('HSET', key, 'fingerprint', d.fingerprint, 'cursor', lost and d.since or int(math.max(NOW, tonumber(cursor or 0))))
        redis.call('HSET', key, 'schedule', d.schedule, 'offset', int(d.offset))
        if next_fire then redis.call('ZADD', k('next'), next_fire, d.job) else redis.call('ZREM', k('next'), d.job) end
      elseif d.next or d.next_after_since then
        redis.call('ZADD', k('next'), 'NX', d.next_after_since or d.next, d.job)
        if redis.call('HSETNX', key, 'schedule', d.schedule) == 1 then redis.call('HSET', key, 'offset', int(d.offset)) end
      end
      if not older then redis.call('HSET', key, 'revision', int(a.revision)) end
    end
  end
  return cjson.encode(aside)
end

-- in_force {jobs} -> JSON: {job: {fingerprint, revision, cursor, next?, schedule, offset}}, without unknown jobs.
function calls.in_force(a)
  local found = {}
  for _, job in ipairs(a.jobs) do
    local fingerprint, revision, cursor, schedule, offset =
      unpack(redis.call('HMGET', k('job:' .. job), 'fingerprint', 'revision', 'cursor', 'schedule', 'offset'))
    if fingerprint and instant(cursor) then
      found[job] = {
        fingerprint = fingerprint, revision = revision or '0', cursor = cursor, next = redis.call('ZSCORE', k('next'), job) or nil,
        schedule = schedule or '', offset = offset or '0',
      }
    end
  end
  return cjson.encode(found)
end

-- watch {jobs = [{job, fingerprint}], revision} -> JSON: {job: the instant from which its fires need a row}, without the jobs of which
-- a newer revision has another definition.
function calls.watch(a)
  local since = {}
  for _, w in ipairs(a.jobs) do
    local key = k('job:' .. w.job)
    local fingerprint, revision, cursor = unpack(redis.call('HMGET', key, 'fingerprint', 'revision', 'cursor'))
    if fingerprint == w.fingerprint and instant(cursor) then
      since[w.job] = cursor
    elseif not revision or a.revision >= tonumber(revision) then
      redis.call('HSET', key, 'fingerprint', w.fingerprint, 'revision', int(a.revision), 'cursor', NOW_TEXT)
      since[w.job] = NOW_TEXT
    end
  end
  return cjson.encode(since)
end

-- account {jobs = [{job, fingerprint}], to}: all fires of these jobs up to `to` have a row. Ignores jobs with another definition.
function calls.account(a)
  for _, w in ipairs(a.jobs) do
    local key = k('job:' .. w.job)
    local fingerprint, cursor = unpack(redis.call('HMGET', key, 'fingerprint', 'cursor'))
    if fingerprint == w.fingerprint and a.to > tonumber(instant(cursor) or 0) then redis.call('HSET', key, 'cursor', int(a.to)) end
  end
  return 0
end

-- forget {start, limit, revision} -> the cursor of the next call, '0' at the end. Removes the jobs whose last revision is older. The
-- caller has declared its own jobs just before, so they have at least this revision.
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

-- due {start, limit} -> JSON: {now, wait?: milliseconds to the first fire after these, jobs: [{job, fingerprint, cursor}]}: the jobs
-- with a fire at or before now, without the first `start` ones.
function calls.due(a)
  local jobs = redis.call('ZRANGEBYSCORE', k('next'), '-inf', NOW_TEXT, 'LIMIT', a.start, a.limit)
  local following = redis.call('ZRANGE', k('next'), a.start + #jobs, a.start + #jobs, 'WITHSCORES')
  local found = { now = NOW_TEXT, wait = following[2] and math.max(0, tonumber(following[2]) - NOW) or nil, jobs = {} }
  for _, job in ipairs(jobs) do
    local fingerprint, cursor = unpack(redis.call('HMGET', k('job:' .. job), 'fingerprint', 'cursor'))
    if fingerprint and instant(cursor) then
      found.jobs[#found.jobs + 1] = { job = job, fingerprint = fingerprint, cursor = cursor }
    else
      -- The row was lost or damaged; a dispatcher that has the job declares it again.
      redis.call('ZREM', k('next'), job)
      redis.call('DEL', k('job:' .. job))
    end
  end
  return cjson.encode(found)
end

local function advance(one)
  local key = k('job:' .. one.job)
  local fingerprint, cursor = unpack(redis.call('HMGET', key, 'fingerprint', 'cursor'))
  if fingerprint ~= one.fingerprint or tonumber(cursor) ~= one.from or one.to < one.from or one.to > NOW then return 0 end
  for _, r in ipairs(one.runs) do
    r.provider = routed(r.job, r.provider or '')
    local new, published = put_run(r, not r.verdict)
    if new and r.verdict then settle_run(r.id, r.verdict, r.reason) end
    if new and not r.verdict and not published then into_outbox(r.id, r.provider, NOW_TEXT) end
  end
  redis.call('HSET', key, 'cursor', int(one.to))
  if one.next then redis.call('ZADD', k('next'), one.next, one.job) else redis.call('ZREM', k('next'), one.job) end
  return 1
end

-- advance {advances = [{job, fingerprint, from, to, next?, runs}]} -> for each 1, or 0 if it was refused. Writes the fires up to `to`,
-- their outbox entries or messages, and the cursor in one step. Refuses a job if its cursor or schedule has changed, or if the new
-- cursor is before the old one or after now.
function calls.advance(a)
  local done = {}
  for i, one in ipairs(a.advances) do done[i] = advance(one) end
  finish()
  return done
end

return respond()
