-- take {limit} -> notices as JSON, the oldest first. What is taken is gone.
function calls.take(a)
  local taken = redis.call('RPOP', k('notices'), a.limit) or {}
  idle = #taken == 0
  return taken
end

-- put_back {texts}: nobody could be told; they come first the next time.
function calls.put_back(a)
  redis.call('RPUSH', k('notices'), unpack(a.texts))
  return 1
end

return respond()
