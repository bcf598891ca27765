-- The claim: whether a run may begin, and the lease and token of a granted one.

-- The instant of the last change of the server process: a restart, or a failover to a replica. The last writes before it may be lost,
-- also the one that says that a run began. After a restart the instant is the start of the server. The server does not report the
-- instant of a failover, so then the instant is that of the first claim.
local gap

-- The last tokens may be lost, and must not be given again. Continue from the clock in microseconds, which is larger than any count of
-- claims, plus a minute, in case the clock of another server was ahead.
local function skip_tokens()
  redis.call('SET', k('token'), int(math.max(tonumber(redis.call('GET', k('token')) or 0), NOW * 1000) + 60000000))
end

local function look_for_gap()
  local info, known = redis.call('INFO', 'server'), redis.call('GET', k('server'))
  local server = string.match(info, 'run_id:(%x+)')
  if server and server ~= known then
    redis.call('SET', k('server'), server)
    if known then
      local promoted = not string.find(redis.call('INFO', 'replication'), 'second_repl_offset:%-1')
      local up = tonumber(string.match(info, 'uptime_in_seconds:(%d+)') or 0) * 1000
      redis.call('SET', k('gap'), promoted and NOW_TEXT or int(NOW - up))
      skip_tokens()
    else
      redis.call('SET', k('token'), 0, 'NX')
    end
  elseif redis.call('EXISTS', k('token')) == 0 then
    skip_tokens()   -- the counter was lost
  end
  gap = tonumber(redis.call('GET', k('gap')) or 0)
end

-- Written by `finish_grants`, because one command for all runs of a call is quicker than one for each: the leases, the messages that left
-- their queue by provider, and the active runs by job.
local leased, left, begun = {}, {}, {}

local function list_of(lists, key)
  lists[key] = lists[key] or {}
  return lists[key]
end

local function finish_grants()
  if #leased > 0 then redis.call('ZADD', k('leases'), unpack(leased)) end
  for provider, ids in pairs(left) do redis.call('ZREM', k('queued:' .. provider), unpack(ids)) end
  for job, pairs_of in pairs(begun) do redis.call('ZADD', k('active:' .. job), unpack(pairs_of)) end
end

-- `unbounded`: whether the policy lets any number of runs be active, so that no other claim of the call looks at the active ones.
local function grant(id, row, worker, lease, unbounded)
  local key = k('run:' .. id)
  if row.accepted <= gap and tonumber(row.started or 0) <= gap then
    row.story = (row.story or '') .. line('at least once', row.generation, 'the store restarted, and may have lost that the run began before')
  end
  local token = redis.call('INCR', k('token'))
  local attempts = tonumber(row.attempts or 0) + 1
  redis.call('HSET', key, 'state', 'running', 'started_at', NOW_TEXT, 'worker', worker, 'token', int(token), 'attempts', attempts,
    'story', (row.story or '') .. line('claimed', row.generation, worker))
  if tonumber(row.generation) > 1 or row.state ~= 'queued' then
    redis.call('HDEL', key, 'cancel', 'unknown_since', 'progress')
    out_of_outbox(id, row.provider)
    redis.call('ZREM', k('waiting:' .. row.job), id)
  end
  table.insert(list_of(left, row.provider), id)
  table.insert(leased, int(NOW + lease))
  table.insert(leased, id)
  if unbounded then
    local active = list_of(begun, row.job)
    table.insert(active, NOW_TEXT)
    table.insert(active, id)
  else
    redis.call('ZADD', k('active:' .. row.job), NOW_TEXT, id)
  end
  if attempts == 1 and row.fire and NOW - row.fire > LATE then
    notice('late', id, row.job, int(row.fire), '', int(math.floor((NOW - row.fire) / 1000)) .. ' s late')
  end
  return { 'run', token, attempts, tonumber(row.failures or 0), row.suspect and 1 or 0, '', '', row.changed }
end

local function settled(id, verdict, reason, note, more)
  settle_run(id, verdict, reason, note)
  return { 'settled', 0, 0, 0, 0, verdict .. ': ' .. worded(reason, note), more }
end

-- A worker does not know the job: hand the run to another worker, or fail it after UNKNOWN_JOB.
local function disown(id, generation, worker)
  local key = k('run:' .. id)
  local since = redis.call('HGET', key, 'unknown_since')
  if since and NOW - tonumber(since) >= UNKNOWN_JOB then return settled(id, 'failed', REASON.unknown_job) end
  if not since then redis.call('HSET', key, 'unknown_since', NOW_TEXT) end
  -- Vary the wait. After a constant wait, the worker that gave the run back would have polled longest and would get it again.
  local digest = redis.sha1hex(id .. ':' .. generation)
  local rest = UNKNOWN_JOB_WAIT - tonumber(string.sub(digest, 1, 6), 16) % 1000
  hand_out_again(id, 'pending', rest, 'handed back', worker .. ' does not know the job')
  return { 'later', 0, 0, 0, 0, REASON.unknown_job }
end

-- Apply the catch-up policy to a fire that waited at the broker and was never begun. Return why it must not run any more, or nil.
local function missed(row, policy)
  local late = NOW - row.fire
  if late > policy.window then return REASON.too_late end
  if late <= GRACE then return nil end
  if policy.catch_up == 'none' then return REASON.not_caught_up end
  local newest = redis.call('HGET', k('newest'), row.job)
  if policy.catch_up ~= 'latest' or not newest or tonumber(newest) <= row.fire then return nil end
  -- Older fires were dropped in favour of this one (the heir), so it runs even if a newer one exists. Otherwise a job whose claims are
  -- always late would never run.
  local heir = tonumber(redis.call('HGET', k('heirs'), row.job) or 0)
  if heir == row.fire then return nil end
  if heir < row.fire then redis.call('HSET', k('heirs'), row.job, newest) end
  return REASON.superseded
end

-- Settle waiting fires of a job that were never begun and are older than `at` as missed, oldest first, from the score `start`. Return the
-- score from which the next call continues, or '' at the end.
local function give_way(job, at, start)
  local found = redis.call('ZRANGEBYSCORE', k('waiting:' .. job), start, '(' .. int(at), 'WITHSCORES', 'LIMIT', 0, LOOKS)
  for i = 1, #found, 2 do
    if may_give_way(found[i]) then
      if spare <= 0 then return found[i + 1] end
      spare = spare - 1
      settle_run(found[i], 'missed', REASON.superseded)
    end
  end
  if #found < 2 * LOOKS then return '' end
  local last = found[#found]
  return last == start and '(' .. last or last
end

-- Whether a fire newer than `at` waits. Beyond the heir, only the LOOKS next ones are looked at.
local function newer_waits(job, at)
  local _, heir_at = heir_of(job)
  if heir_at and heir_at > at then return true end
  for _, other in ipairs(redis.call('ZRANGEBYSCORE', k('waiting:' .. job), '(' .. int(at), '+inf', 'LIMIT', 0, LOOKS)) do
    if redis.call('HGET', k('run:' .. other), 'cause') == 'schedule' then return true end
  end
  return false
end

-- Let older waiting fires give way to this one. Return whether this fire should be missed because a newer one waits, and the score from
-- which `supersede` continues, or ''. If nobody calls it, `release` settles what is left when its turn comes.
local function supersede(id, row)
  local newer = newer_waits(row.job, row.fire)
  if not newer then redis.call('HSET', k('waiting_heirs'), row.job, id) end
  return newer and not row.attempts, give_way(row.job, row.fire, '-inf')
end

-- supersede {job, start} -> the score from which the next call continues, or '' at the end. Continue a claim that left older fires.
function calls.supersede(a)
  local _, at = heir_of(a.job)
  local start = at and give_way(a.job, at, a.start) or ''
  finish()
  return start
end

-- Ask the running ones of the first LOOKS active runs, but for `id`, to stop; their workers get the request when they renew the lease.
-- Settle those that wait for a retry. Return false if no other run is active any more.
local function cancel_others(job, id)
  local active = k('active:' .. job)
  local waits = false
  for _, other in ipairs(redis.call('ZRANGE', active, 0, LOOKS - 1)) do
    if other ~= id then
      local runs = redis.call('HGET', k('run:' .. other), 'state') == 'running'
      if runs then
        redis.call('HSET', k('run:' .. other), 'cancel', REASON.overlap)
      elseif spare > 0 then
        spare = spare - 1
        settle_run(other, 'cancelled', REASON.overlap)
      end
      waits = waits or runs or spare <= 0
    end
  end
  -- More than LOOKS are active only after an edit of the policy. The next claim asks the next ones.
  return waits or redis.call('ZCARD', active) > LOOKS
end

-- Make the run wait. Raise the generation, so that copies of the old message count as duplicates and a late `published` for it
-- removes nothing from the outbox. Remove the run from the active ones, so that it does not wait for itself.
local function wait(id, row, policy, why, note)
  local more = ''
  if row.fire and policy.catch_up == 'latest' then
    local missed
    missed, more = supersede(id, row)
    if missed then return settled(id, 'missed', REASON.superseded, nil, more) end
  elseif row.fire then
    redis.call('HDEL', k('waiting_heirs'), row.job)   -- the policy was edited
  end
  out_of_outbox(id, row.provider)
  out_of_queue(id, row.provider)
  redis.call('ZREM', k('active:' .. row.job), id)
  -- A run that waits again keeps its place: a fire is ordered by its instant, any other run by the instant at which it first waited.
  if not row.fire then redis.call('HSETNX', k('run:' .. id), 'waits_since', NOW_TEXT) end
  redis.call('ZADD', k('waiting:' .. row.job), row.fire and int(row.fire) or redis.call('HGET', k('run:' .. id), 'waits_since'), id)
  redis.call('SADD', k('waiters'), row.job)
  redis.call('HSET', k('bounds'), row.job, policy.most)
  redis.call('HSET', k('run:' .. id), 'state', 'pending', GENERATION, row.generation + 1,
    'story', (row.story or '') .. line('waits', row.generation, note))
  return { 'later', 0, 0, 0, 0, why, more }
end

-- How many other runs of the job are active.
local function others_active(job, id)
  local active = redis.call('ZCARD', k('active:' .. job))
  return active > 0 and redis.call('ZSCORE', k('active:' .. job), id) and active - 1 or active
end

-- Apply the overlap policy. Return nil if this run may run, else the answer. `skip` applies only to fires that were never begun: runs
-- that a user asked for, and runs that a worker began and lost, wait instead.
local function overlap(id, row, policy)
  if policy.overlap == 'allow' and policy.most == 0 then return nil end
  local others = others_active(row.job, id)
  if others == 0 or (policy.overlap == 'allow' and others < policy.most) then return nil end
  if policy.overlap == 'skip' and row.cause == 'schedule' and not row.attempts then return settled(id, 'skipped', REASON.overlap) end
  if policy.overlap == 'cancel_other' and not cancel_others(row.job, id) then return nil end
  if policy.here then return settled(id, 'skipped', REASON.overlap) end
  return wait(id, row, policy, REASON.overlap, 'another run of the job is active')
end

local function row_of(id)
  local row = redis.call('HMGET', k('run:' .. id), 'state', 'attempt', 'job', 'cause', 'attempts', 'failures', 'story', 'scheduled_for', 'suspect',
    'accepted_at', 'started_at', 'generation', 'provider', 'message', 'due')
  if not row[1] then return nil end
  if row[5] == '0' then row[5] = nil end   -- schema 1 writes 0 before the first attempt
  return { state = row[1], generation = row[12] or row[2], job = row[3], cause = row[4], attempts = row[5], failures = row[6],
    story = row[7], fire = row[4] == 'schedule' and tonumber(row[8]) or nil, suspect = row[9] or nil,
    accepted = tonumber(row[10] or 0), started = row[11], provider = row[13] or '', message = row[14] or '',
    due = tonumber(row[15] or nil) }
end

-- Accept a message without a row, which was published straight to a broker. Refuse it if it is so old that it may have run before.
-- Skip it if another run has its uniqueness key.
local function adopt(r)
  local made = tonumber(r.made)
  if made and (NOW - made > KEEP or made <= tonumber(redis.call('HGET', k('floor'), r.job) or 0)) then
    return nil, { 'too old', 0, 0, 0, 0, REASON.too_old }
  end
  r.cause = r.cause or 'enqueue'
  put_run(r)
  if r.generation ~= 1 then redis.call('HSET', k('run:' .. r.id), GENERATION, r.generation) end
  if r.unique ~= '' and redis.call('HSETNX', k('unique'), of(r.job, r.unique), r.id) == 0 then
    return nil, settled(r.id, 'skipped', REASON.duplicate, redis.call('HGET', k('unique'), of(r.job, r.unique)))
  end
  return row_of(r.id)
end

local paused = {}   -- by job; no function of this script changes it

local function claim_one(id, job, generation, digest, policy, record, worker, lease)
  local row, answer = row_of(id), nil
  if row and digest and redis.sha1hex(row.message) ~= digest then row.changed = row.message end
  if not row then
    if not record then return { 'no row', 0, 0, 0, 0, '' } end
    row, answer = adopt(record)
    if answer then return answer end
  end
  if not OPEN[row.state] or tonumber(row.generation) ~= generation or row.job ~= job then
    return { 'duplicate', 0, 0, 0, 0, row.state }
  end
  -- A published run is due. If the clock of the store went back since, nobody would deliver the message again.
  if row.due and row.due > NOW and row.state ~= 'queued' then return { 'early', 0, 0, 0, 0, '' } end
  if not policy then return disown(id, row.generation, worker) end
  if row.fire and policy.window and not row.attempts then
    local why = missed(row, policy)
    if why then return settled(id, 'missed', why) end
  end
  if paused[job] == nil then paused[job] = is_paused(job) end
  if paused[job] then
    if policy.here or (row.cause == 'schedule' and policy.catch_up == 'none' and not row.attempts) then
      return settled(id, 'skipped', REASON.paused)
    end
    return wait(id, row, policy, REASON.paused, 'the job is paused')
  end
  return overlap(id, row, policy) or grant(id, row, worker, lease, policy.overlap == 'allow' and policy.most == 0)
end

-- claim {wanted = [[id, job, generation, digest, record?]], policies = {job: {overlap, catch_up, window, most}}, worker, lease}
-- -> for each {answer, token, attempts, failures, suspect, reason, start?, message?}. `digest` is the SHA-1 of
-- the delivered message; `message` is that of the row, if it is another one. Each generation of a run is granted at most once. If `start`
-- is neither missing nor '', older fires of the job are left: call `supersede` with it.
-- A job without a policy is unknown to this worker.
-- Answer `early`: the run is not due, and nothing is written.
-- Answer `no row`: the run has none. Call again with the record {id, job, tier, generation, made, message, …} to accept it.
function calls.claim(a)
  local answers = {}
  look_for_gap()
  local ok, failure = pcall(function()
    for i, w in ipairs(a.wanted) do
      answers[i] = claim_one(w[1], w[2], w[3], w[4], a.policies[w[2]], w[5], a.worker, a.lease)
    end
  end)
  finish_grants()   -- also if a row is unreadable: a run that was granted has a lease
  if not ok then error(failure, 0) end
  finish()
  return answers
end

-- Whether a run that was asked for by name has to wait for others of its job; under cancel_other these are asked to end.
local function busy(job, policy)
  if policy.overlap == 'allow' and policy.most == 0 then return false end
  local others = redis.call('ZCARD', k('active:' .. job))
  if others == 0 or (policy.overlap == 'allow' and others < policy.most) then return false end
  return policy.overlap ~= 'cancel_other' or cancel_others(job)
end

-- begin {run, overlap, most, waits, worker, lease} -> an answer as from claim. Accept and claim in one step, without a broker, for a
-- run that the calling process runs itself. The answer is `duplicate` if the store knows the run. While other runs of the job are in
-- the way, the run is skipped; with `waits` the answer is `later`, and nothing is written.
function calls.begin(a)
  look_for_gap()
  -- `here`: the run runs in this process or not at all, so it must not wait for a broker.
  local policy = { overlap = a.overlap, catch_up = 'all', most = a.most, here = true }
  if a.waits and busy(a.run.job, policy) then
    finish()
    return { 'later', 0, 0, 0, 0, REASON.overlap }
  end
  if not put_run(a.run) then return { 'duplicate', 0, 0, 0, 0, '' } end
  local row = row_of(a.run.id)
  local answer
  if row.cause == 'manual' then
    answer = overlap(a.run.id, row, policy) or grant(a.run.id, row, a.worker, a.lease)
  else
    answer = claim_one(a.run.id, a.run.job, 1, nil, policy, nil, a.worker, a.lease)
  end
  finish_grants()
  finish()
  return answer
end

return respond()
