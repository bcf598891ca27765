-- accept {runs, hold} -> for each {run, new, published}. Writes all runs and their outbox entries, or none. `published` is 1 if this
-- server carries the provider. `hold`: for this many milliseconds the relay leaves entries that are due now to the caller.
function calls.accept(a)
  local answers = {}
  for i, r in ipairs(a.runs) do
    local holder = r.unique and redis.call('HGET', k('unique'), of(r.job, r.unique))
    if holder then
      answers[i] = { holder, 0, 0 }
    else
      local due = tonumber(r.due or 0)
      local new, published = put_run(r, due <= NOW)
      if new and not published then redis.call('ZADD', k('outbox'), due > NOW and int(due) or int(NOW + a.hold), r.id) end
      if new and r.unique then redis.call('HSET', k('unique'), of(r.job, r.unique), r.id) end
      if new and r.replays and redis.call('ZREM', k('dead'), r.replays) == 1 then
        tell(r.replays, 'replayed', 'as ' .. r.id)
        redis.call('PEXPIRE', k('run:' .. r.replays), KEEP)
      end
      answers[i] = { r.id, new and 1 or 0, published and 1 or 0 }
    end
  end
  return answers
end

-- Whether this server may publish the message unread. `take` gives all others to its caller, which validates them.
local function sound(message, generation)
  if not tonumber(generation) then return false end
  if not message then return true end
  local ok, decoded = pcall(cjson.decode, message)
  return ok and type(decoded) == 'table' and decoded.job ~= nil
end

-- take {limit, hold} -> {how many this server published itself, milliseconds to the next entry or -1, then flat id, message,
-- generation, provider}: the due entries, oldest first. No other relay gets them for `hold` milliseconds.
function calls.take(a)
  local found, published = { 0, -1 }, 0
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', k('outbox'), '-inf', NOW_TEXT, 'LIMIT', 0, a.limit)) do
    guarded(id, function()
      local message, older, newer, provider = unpack(redis.call('HMGET', k('run:' .. id), 'message', 'attempt', 'generation', 'provider'))
      local generation = newer or older
      if not generation then
        redis.call('ZREM', k('outbox'), id)
      elseif carries(provider) and sound(message, generation) then
        hand_out(id)
        published = published + 1
      else
        redis.call('ZADD', k('outbox'), int(NOW + a.hold), id)
        for _, v in ipairs({ id, message or message_of_parts(id), generation, provider or '' }) do found[#found + 1] = v end
      end
    end)
  end
  finish()
  local first = redis.call('ZRANGE', k('outbox'), 0, 0, 'WITHSCORES')
  idle = published == 0 and #found == 2
  found[1], found[2] = published, first[2] and math.max(0, tonumber(first[2]) - NOW) or -1
  return found
end

-- publish_own {limit} -> how many were published. Looks at the first `limit` due entries and publishes those of jobs that only one
-- program declares. Relays publish the others.
function calls.publish_own(a)
  local published = 0
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', k('outbox'), '-inf', NOW_TEXT, 'LIMIT', 0, a.limit)) do
    guarded(id, function()
      local message, older, newer, provider = unpack(redis.call('HMGET', k('run:' .. id), 'message', 'attempt', 'generation', 'provider'))
      if provider ~= OWN then return end
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

-- set_aside {runs}: turn rows that cannot be read into dead letters.
function calls.set_aside(a)
  for _, id in ipairs(a.runs) do guarded(id, function() set_aside(id) end) end
  finish()
  return 1
end

-- published {runs = [[id, generation]]}: remove the outbox entries, unless the run has a newer generation meanwhile.
function calls.published(a)
  for _, r in ipairs(a.runs) do
    local key = k('run:' .. r[1])
    local state, older, newer, story = unpack(redis.call('HMGET', key, 'state', 'attempt', 'generation', 'story'))
    local generation = newer or older
    if tonumber(generation) == r[2] and (state == 'pending' or state == 'retrying') then
      redis.call('ZREM', k('outbox'), r[1])
      redis.call('HSET', key, 'state', 'queued', 'story', (story or '') .. line('published', generation))
    end
  end
  return 1
end

return respond()
