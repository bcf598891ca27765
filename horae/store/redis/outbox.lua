-- The relay's side of the outbox: what is due, what a provider has, and what is published again.

-- Whether this server may publish the message unread. `take` gives all others to its caller, which validates them.
local function sound(message, generation)
  if not tonumber(generation) then return false end
  if not message then return true end
  local ok, decoded = pcall(cjson.decode, message)
  return ok and type(decoded) == 'table' and decoded.job ~= nil
end

-- The due entries of a provider, oldest first. Drop those that are not in the common set any more, because a process of the previous
-- release removed them there, and leave out those that one of its relays has taken.
local function due_at(provider, limit)
  local set, due = k('outbox:' .. provider), {}
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', set, '-inf', NOW_TEXT, 'LIMIT', 0, limit)) do
    local at = redis.call('ZSCORE', k('outbox'), id)
    if not at then
      redis.call('ZREM', set, id)
    elseif tonumber(at) > NOW then
      redis.call('ZADD', set, at, id)
    else
      due[#due + 1] = id
    end
  end
  return due
end

-- take {providers, limit, hold} -> {how many this server published itself, milliseconds to the next entry or -1, then flat id, message,
-- generation, resent}: the due entries of these providers, each provider's oldest first. No other relay gets them for `hold` milliseconds.
function calls.take(a)
  local found, published, first, seen = { 0, -1 }, 0, nil, 0
  local function take(id, provider)
    local message, older, newer, job, was, pinned, resent =
      unpack(redis.call('HMGET', k('run:' .. id), 'message', 'attempt', 'generation', 'job', 'provider', 'pinned', 'resent'))
    local generation = newer or older
    local route = generation and reroute(id, job, was, pinned)
    if not generation then
      out_of_outbox(id, provider)
    elseif route ~= provider then
      out_of_outbox(id, provider)
      recall(id)
      into_outbox(id, route, NOW_TEXT)
    elseif carries(provider) and sound(message, generation) then
      hand_out(id)
      published = published + 1
    else
      into_outbox(id, provider, int(NOW + a.hold))
      for _, v in ipairs({ id, message or message_of_parts(id), generation, resent or 0 }) do found[#found + 1] = v end
    end
  end
  for _, provider in ipairs(a.providers) do
    for _, id in ipairs(due_at(provider, a.limit - seen)) do
      seen = seen + 1
      guarded(id, function() take(id, provider) end)
    end
  end
  for _, provider in ipairs(a.providers) do
    local next_one = redis.call('ZRANGE', k('outbox:' .. provider), 0, 0, 'WITHSCORES')[2]
    if next_one and (not first or tonumber(next_one) < first) then first = tonumber(next_one) end
  end
  finish()
  idle = seen == 0
  found[1], found[2] = published, first and math.max(0, first - NOW) or -1
  return found
end

-- upcoming {provider, within, start, limit} -> {the cursor of the next call, '0' at the end; then flat id, message, generation, resent, due}:
-- runs of that provider that are due later, but within that time, and whose message the broker does not have. An entry that a relay has
-- taken is not among them: its run is due.
function calls.upcoming(a)
  local answer = redis.call('ZSCAN', k('outbox:' .. a.provider), a.start, 'COUNT', a.limit)
  local found = { answer[1] }
  local function look(id)
    local message, older, newer, resent, due, placed =
      unpack(redis.call('HMGET', k('run:' .. id), 'message', 'attempt', 'generation', 'resent', 'due', 'placed'))
    local generation = newer or older
    if not generation or not due or tonumber(due) <= NOW or placed == placed_text(generation, due) then return end
    if not redis.call('ZSCORE', k('outbox'), id) then return end   -- a process of the previous release removed it
    for _, v in ipairs({ id, message or message_of_parts(id), generation, resent or 0, due }) do found[#found + 1] = v end
  end
  for i = 1, #answer[2], 2 do
    local id, at = answer[2][i], tonumber(answer[2][i + 1])
    if at > NOW and at <= NOW + a.within then guarded(id, function() look(id) end) end
  end
  finish()
  return found
end

-- placed {runs = [[id, generation]]}: the broker has these messages and delivers them when they are due. Their entries stay until the
-- claim, so that the relay publishes them as well if they are not claimed in time.
function calls.placed(a)
  for _, r in ipairs(a.runs) do
    local key = k('run:' .. r[1])
    local older, newer, due = unpack(redis.call('HMGET', key, 'attempt', 'generation', 'due'))
    if due and tonumber(newer or older) == r[2] then redis.call('HSET', key, 'placed', placed_text(r[2], due)) end
  end
  return 1
end

-- publish_own {limit} -> how many were published. Publishes the due entries of jobs that only one program declares.
function calls.publish_own(a)
  local published = 0
  for _, id in ipairs(due_at(OWN, a.limit)) do
    guarded(id, function()
      local message, older, newer = unpack(redis.call('HMGET', k('run:' .. id), 'message', 'attempt', 'generation'))
      if sound(message, newer or older) then
        hand_out(id)
        published = published + 1
      else
        set_aside(id)
      end
    end)
  end
  finish()
  idle = published == 0
  return published
end

-- sort {start, limit} -> the cursor of the next call, '0' at the end. Gives each entry that a process of the previous release wrote to
-- the set of its provider.
function calls.sort(a)
  local answer, sorted = redis.call('ZSCAN', k('outbox'), a.start, 'COUNT', a.limit), 0
  for i = 1, #answer[2], 2 do
    local id = answer[2][i]
    guarded(id, function()
      local provider = redis.call('HGET', k('run:' .. id), 'provider') or ''
      if redis.call('ZSCORE', k('outbox:' .. provider), id) then return end
      into_outbox(id, provider, answer[2][i + 1])
      sorted = sorted + 1
    end)
  end
  finish()
  idle = sorted == 0
  return answer[1]
end

-- republish {provider, age, note, limit} -> how many runs were found. Hands out again, with the same generation, what was published at
-- least `age` milliseconds ago and no worker has claimed. A late copy of the first message is a duplicate at the claim.
function calls.republish(a)
  local queue, found = k('queued:' .. a.provider), 0
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', queue, '-inf', int(NOW - a.age), 'LIMIT', 0, a.limit)) do
    redis.call('ZREM', queue, id)
    guarded(id, function()
      local key = k('run:' .. id)
      if redis.call('HGET', key, 'state') ~= 'queued' then return end   -- a process of the previous release claimed it
      tell(id, 'missing', a.note)
      redis.call('HSET', key, 'state', 'pending')
      redis.call('HINCRBY', key, 'resent', 1)
      hand_out(id)
      found = found + 1
    end)
  end
  finish()
  idle = found == 0
  return found
end

-- by_provider {} -> JSON: for each provider {provider, outbox and queued: how many runs are there, overdue and oldest: for how many
-- milliseconds the first of them has been}. Configurations name far fewer providers than 100; more would make the step long.
function calls.by_provider()
  local found = {}
  for i, provider in ipairs(redis.call('SRANDMEMBER', k('providers'), 100)) do
    local outbox, queue = k('outbox:' .. provider), k('queued:' .. provider)
    found[i] = { provider = provider, outbox = redis.call('ZCARD', outbox), queued = redis.call('ZCARD', queue),
      overdue = since_first(outbox), oldest = since_first(queue) }
  end
  return cjson.encode(found)
end

-- set_aside {runs}: turn rows that cannot be read into dead letters.
function calls.set_aside(a)
  for _, id in ipairs(a.runs) do guarded(id, function() set_aside(id) end) end
  finish()
  return 1
end

-- published {runs = [[id, generation]], provider?}: remove the outbox entries, unless the run has a newer generation meanwhile.
-- `provider`: where the messages are, if that is not the provider of the rows.
function calls.published(a)
  for _, r in ipairs(a.runs) do
    local key = k('run:' .. r[1])
    local state, older, newer, story, provider = unpack(redis.call('HMGET', key, 'state', 'attempt', 'generation', 'story', 'provider'))
    local generation = newer or older
    if tonumber(generation) == r[2] and (state == 'pending' or state == 'retrying') then
      out_of_outbox(r[1], provider)
      if a.provider and a.provider ~= provider then redis.call('HSET', key, 'provider', a.provider) end
      into_queue(r[1], a.provider or provider or '')
      redis.call('HSET', key, 'state', 'queued', 'story', (story or '') .. line('published', generation))
    end
  end
  return 1
end

return respond()
