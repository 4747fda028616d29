import EagleText

/// A text to ids and back, as a whole and id by id.
func streamText(folder: String) throws {
  let tokenizer = try Tokenizer(folder: folder)
  let ids = try tokenizer.encode("Rain falls from clouds. It wets the ground.")
  print(ids.count, "ids:", tokenizer.decode(ids, skipSpecial: true))

  // An answer arrives id by id, and ends before the stop string.
  var answer = StreamingDetokenizer(tokenizer, stops: [" It"])
  for id in ids where !answer.isStopped { print(answer.append(id), terminator: "") }
  print(answer.finish())
}
