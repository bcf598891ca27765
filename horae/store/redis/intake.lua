-- The acceptance of new runs.

-- accept {runs, hold} -> for each {run, new, published, provider}. Writes all runs and their outbox entries, or none. `published` is 1 if
-- this server carries the provider. `hold`: for this many milliseconds the relay leaves entries that are due now to the caller.
function calls.accept(a)
  local answers = {}
  for i, r in ipairs(a.runs) do
    local holder = r.unique and redis.call('HGET', k('unique'), of(r.job, r.unique))
    r.provider = routed(r.job, r.provider, r.pinned)
    if holder then
      answers[i] = { holder, 0, 0, r.provider }
    else
      local due = tonumber(r.due or 0)
      local new, published = put_run(r, due <= NOW)
      if new and not published then into_outbox(r.id, r.provider, due > NOW and int(due) or int(NOW + a.hold)) end
      if new and r.unique then redis.call('HSET', k('unique'), of(r.job, r.unique), r.id) end
      if new and r.replays and redis.call('ZREM', k('dead'), r.replays) == 1 then
        tell(r.replays, 'replayed', 'as ' .. r.id)
        redis.call('PEXPIRE', k('run:' .. r.replays), KEEP)
      end
      answers[i] = { r.id, new and 1 or 0, published and 1 or 0, r.provider }
    end
  end
  return answers
end

return respond()
