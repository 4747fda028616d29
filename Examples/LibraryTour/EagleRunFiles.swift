import EagleRunFiles

/// The acceptance length and the speed of two texts together.
func addStatistics() {
  var text = DecodingStatistics()
  (text.rounds, text.targetPasses, text.decodedTokens) = (40, 40, 96)
  (text.proposed, text.accepted) = ([40, 40], [32, 24])
  text.decodeSeconds = 0.8

  var total = DecodingStatistics()
  for statistics in [text, text] { total += statistics }
  print("acceptance length", total.acceptanceLength)
  print("acceptance by position", total.acceptanceByPosition)
  print("tokens per second", total.tokensPerSecond)
}
