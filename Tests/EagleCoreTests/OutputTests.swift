import EagleCore
import Foundation
import Testing

@Suite struct OutputTests {
  @Test("an error of the system is told in its words")
  func systemErrors() {
    #expect(OutputError(code: ENOSPC).description == "standard output: No space left on device")
  }
}
