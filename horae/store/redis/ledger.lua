-- The ledger: rows of other schedulers, logs, figures, and the removal of old runs.

-- Whether a run without a row is at most as new as a dropped run of its job. It may have been dropped too, so writing it would count
-- it twice.
local function forgotten(r)
  local floor, when = redis.call('HGET', k('floor'), r.job), r.scheduled_for or r.ended_at
  return floor and when and tonumber(when) <= tonumber(floor)
end

-- record {runs = [{id, job, …, state, started_at?, ended_at?, fields}], keep?}: write whole rows of runs of another scheduler. A settled
-- run is never changed. `keep`: how many runs of the job the ledger keeps.
function calls.record(a)
  for _, r in ipairs(a.runs) do
    local key = k('run:' .. r.id)
    local state, began = unpack(redis.call('HMGET', key, 'state', 'started_at'))
    if not state then
      if forgotten(r) then state = 'forgotten' else put_run(r) end
    end
    if not state or state == 'pending' or state == 'queued' or state == 'running' or state == 'retrying' then
      local late = r.scheduled_for and r.started_at and r.started_at - r.scheduled_for or 0
      if late > LATE and not began then
        notice('late', r.id, r.job, r.scheduled_for, '', int(math.floor(late / 1000)) .. ' s late')
      end
      if #r.fields > 0 then redis.call('HSET', key, unpack(r.fields)) end
      if r.verdict then
        settle_run(r.id, r.verdict, r.reason, r.note)
        -- The other scheduler knows when the run ended; settle_run has written the instant of this call.
        if r.ended_at then redis.call('HSET', key, 'ended_at', r.ended_at) end
      else
        redis.call('HSET', key, 'state', r.state)
      end
    end
    local over = a.keep and math.min(redis.call('ZCARD', k('ledger:' .. r.job)) - a.keep, drops) or 0
    if over > 0 then
      for _, old in ipairs(redis.call('ZRANGE', k('ledger:' .. r.job), 0, over - 1)) do drop_run(old, r.job, 0) end
      drops = drops - over
    end
  end
  finish()
  return 1
end

-- The rank in an index after the entry {id, score}, or after all older entries if the entry is gone. 0 for an empty id.
local function rank_after(index, id, score)
  if id == '' then return 0 end
  local rank = redis.call('ZRANK', index, id)
  return rank and rank + 1 or redis.call('ZCOUNT', index, '-inf', '(' .. score)
end

-- Walk through an index, oldest first, from behind the entry `after`, at most LOOKS entries and `drops` removals in all walks of a call.
-- `visit(id, score, rank)` returns true for an entry that stays, false for one that it removed, and nil to end the walk. Return the entry
-- behind which the next call continues, or nil at the end.
local PAGE, looks, gone = 100, LOOKS, 0
local function walk(index, after, visit)
  local rank = rank_after(index, after[1], after[2])
  while true do
    local found = redis.call('ZRANGE', index, rank, rank + PAGE - 1, 'WITHSCORES')
    for i = 1, #found, 2 do
      if drops <= 0 or looks <= 0 then return after end
      looks = looks - 1
      local stays = visit(found[i], found[i + 1], rank)
      if stays == nil then return nil end
      if stays then after, rank = { found[i], found[i + 1] }, rank + 1 end
    end
    if #found < 2 * PAGE then return nil end
  end
end

-- Drop the runs of a job whose row has expired, and the oldest settled ones beyond KEEP_EACH. Returns as `walk` does.
local function prune_job(job, after)
  local index = k('ledger:' .. job)
  local card, all_fresh = redis.call('ZCARD', index), false
  return walk(index, after, function(id, score, rank)
    local over = rank < card - KEEP_EACH
    if not over and tonumber(score) > NOW - KEEP then return nil end
    local row, done = before_dropping(id), nil
    if not row[1] then
      drop_run(id, job, score)
      done = 'dropped'
    elseif over and not all_fresh then
      done = drop_settled(id, job, score, row)
      all_fresh = done == 'fresh'
    end
    if done ~= 'dropped' and done ~= 'unlisted' then return true end
    card, drops, gone = card - 1, drops - 1, done == 'dropped' and gone + 1 or gone
    return false
  end)
end

-- prune {jobs, after = [id, score]} -> {how many were dropped, how many of the jobs are done, the `after` of the next one}. Drop runs of
-- the ledgers of these jobs: those whose row has expired, and the oldest settled ones beyond KEEP_EACH.
function calls.prune(a)
  local after, done = a.after, 0
  for _, job in ipairs(a.jobs) do
    after = prune_job(job, after)
    if after then return { gone, done, after[1], after[2] } end
    looks, done, after = looks - 1, done + 1, { '', '' }
  end
  return { gone, done, '', '' }
end

-- prune_letters {after = [id, score], keep_dead} -> {how many were dropped, 1 if more is left, the `after` of the next call}. Drop index
-- entries of no job whose row has expired: invalid messages and dead letters. Drop the oldest dead letters beyond `keep_dead`.
function calls.prune_letters(a)
  local index = k('ledger')
  local over = math.min(redis.call('ZCARD', k('dead')) - a.keep_dead, drops)
  if over > 0 then
    for _, id in ipairs(redis.call('ZRANGE', k('dead'), 0, over - 1)) do
      redis.call('ZREM', k('dead'), id)
      redis.call('PEXPIRE', k('run:' .. id), KEEP)
      drops, gone = drops - 1, gone + 1
    end
  end
  local after = walk(index, a.after, function(id, score)
    if tonumber(score) > NOW - KEEP then return nil end
    if redis.call('EXISTS', k('run:' .. id)) == 1 then return true end
    redis.call('ZREM', index, id)
    drops, gone = drops - 1, gone + 1
    return false
  end)
  local more = after or redis.call('ZCARD', k('dead')) > a.keep_dead
  after = after or { '', '' }
  return { gone, more and 1 or 0, after[1], after[2] }
end

-- append_log {id, lines, keep}: keep the newest `keep` lines, for the retention of settled runs.
function calls.append_log(a)
  local key = k('log:' .. a.id)
  redis.call('RPUSH', key, unpack(a.lines))
  redis.call('LTRIM', key, -a.keep, -1)
  redis.call('PEXPIRE', key, KEEP)
  return 1
end

-- figures {} -> JSON: {overdue: milliseconds since the first outbox entry was due, outbox: entries, running: runs with a lease, dead:
-- letters}.
function calls.figures()
  return cjson.encode({
    overdue = since_first(k('outbox')), outbox = redis.call('ZCARD', k('outbox')),
    running = redis.call('ZCARD', k('leases')), dead = redis.call('ZCARD', k('dead')),
  })
end

-- waiting {start} -> {the cursor of the next call, '0' at the end; how many runs of the jobs that were looked at wait for another run of
-- their job or for the end of a pause}.
function calls.waiting(a)
  local answer, waiting = redis.call('SSCAN', k('waiters'), a.start, 'COUNT', LOOKS), 0
  for _, job in ipairs(answer[2]) do waiting = waiting + redis.call('ZCARD', k('waiting:' .. job)) end
  return { answer[1], waiting }
end

return respond()
