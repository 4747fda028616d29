import Testing

@Suite struct ExampleTests {
  @Test("the examples of the library's pages run")
  func libraryTour() throws {
    let outcome = try Command.run("\(Command.binaries)/LibraryTour", [])
    #expect(outcome.status == 0, "\(outcome.errors)")
    // The values on the page of EagleRunFiles: 80 and 60 of 100 drafts kept.
    #expect(outcome.output.contains("acceptance by position [0.8, 0.6]"), "\(outcome.output)")
    #expect(outcome.output.contains("did you mean train.epochs?"))
  }
}
