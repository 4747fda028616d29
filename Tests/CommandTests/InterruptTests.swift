import Foundation
import Testing

/// Ctrl-C in `eagle-run chat`.
@Suite(.serialized) struct InterruptTests {
  /// A chat that is reading a prompt which takes it many seconds.
  private func reading() throws -> (world: TinyWorld, chat: Running) {
    let world = try TinyWorld(endless: true)
    let chat = try Command.start(
      "eagle-run", ["chat", "--target", "target", "--max-tokens", "5"], in: world.path, input: nil)
    try say(String(repeating: "abcdefg ", count: 30_000), chat)
    usleep(1_000_000)
    return (world, chat)
  }

  private func say(_ line: String, _ chat: Running) throws {
    try chat.keyboard.fileHandleForWriting.write(contentsOf: Data("\(line)\n".utf8))
  }

  @Test("Ctrl-C ends the reading of a long prompt, and the conversation goes on without it")
  func promptsAreStopped() throws {
    let (world, chat) = try reading()
    let start = ContinuousClock.now
    kill(chat.process.processIdentifier, SIGINT)
    while !chat.errors.contains("stopped before the answer began"), start.duration(to: .now) < .seconds(30),
      chat.process.isRunning
    {
      usleep(5000)
    }
    #expect(chat.errors.contains("stopped before the answer began"), "\(chat.errors)")
    try say("hello", chat)
    try say("/stats", chat)
    try say("/exit", chat)
    #expect(chat.wait(seconds: 30))
    let outcome = try chat.finish()
    #expect(outcome.status == 0 && outcome.errors.contains("last answer: 5 tokens"), "\(outcome.errors)")
    withExtendedLifetime(world) {}
  }

  @Test("a second Ctrl-C while the first one waits to be heard ends the program with status 130")
  func twiceEnds() throws {
    let (world, chat) = try reading()
    // So fast that a second signal comes before the first was handled, in the prompt or at the next line.
    let start = ContinuousClock.now
    while chat.process.isRunning, start.duration(to: .now) < .seconds(20) {
      kill(chat.process.processIdentifier, SIGINT)
      usleep(20)
    }
    if !chat.wait(seconds: 5) { kill(chat.process.processIdentifier, SIGKILL) }
    #expect(try chat.finish().status == 130)
    withExtendedLifetime(world) {}
  }
}
