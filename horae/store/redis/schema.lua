-- The schema of the store, and the rewriting of old rows.

-- raise {to} -> the previous schema. Every script reads the schema from the store, so all processes write the new form from now on.
function calls.raise(a)
  if SCHEMA < a.to then redis.call('SET', k('schema'), a.to) end
  return SCHEMA
end

-- Give a run of the previous release to the set of its provider.
local function index(id)
  local tier, state, provider = unpack(redis.call('HMGET', k('run:' .. id), 'tier', 'state', 'provider'))
  local due = redis.call('ZSCORE', k('outbox'), id)
  if due then
    into_outbox(id, provider or '', due)
  elseif tier == 'oneiric' and state == 'queued' and not redis.call('ZSCORE', k('queued:' .. (provider or '')), id) then
    into_queue(id, provider or '')
  end
end

-- Rewrite a row in the new form. Return 1 if it had the old one. A row of schema 1 gets its message too.
local function rewrite(id)
  local key = k('run:' .. id)
  local job, tier, attempt, generation, lane, priority, message, body =
    unpack(redis.call('HMGET', key, 'job', 'tier', 'attempt', 'generation', 'lane', 'priority', 'message', 'body'))
  if not job or not (attempt or lane) then return 0 end
  if tier == 'oneiric' and not message and not body then message_of_parts(id) end
  if attempt and not generation then redis.call('HSET', key, 'generation', attempt) end
  if lane and not priority then redis.call('HSET', key, 'priority', lane) end
  redis.call('HDEL', key, 'attempt', 'lane')
  return 1
end

-- rewrite {start, limit} -> JSON: {start: that of the next call, '0' at the end; rewritten: how many rows were rewritten}.
function calls.rewrite(a)
  local answer, rewritten = redis.call('ZSCAN', k('ledger'), a.start, 'COUNT', a.limit), 0
  for i = 1, #answer[2], 2 do
    index(answer[2][i])
    rewritten = rewritten + rewrite(answer[2][i])
  end
  return cjson.encode({ start = answer[1], rewritten = rewritten })
end

return respond()
