-- Notices of missed, failed and late runs, until they are delivered.

-- take {limit} -> removes notices and returns them as JSON, oldest first.
function calls.take(a)
  local taken = redis.call('RPOP', k('notices'), a.limit) or {}
  idle = #taken == 0
  return taken
end

-- put_back {texts}: notices that could not be delivered. The next take returns them first.
function calls.put_back(a)
  redis.call('RPUSH', k('notices'), unpack(a.texts))
  return 1
end

return respond()
