// The search runs in a worker, which a browser refuses to start for a page that is opened as a file.
// Then the worker's script runs in a hidden frame instead, and this class hands over the messages.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(script) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      frame.srcdoc = "<body>"
      frame.onload = () => {
        const inside = frame.contentWindow
        inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
        const element = inside.document.createElement("script")
        element.src = script
        element.onload = () => {
          this.inside = inside
          this.waiting.forEach(data => this.postMessage(data))
        }
        inside.document.body.append(element)
      }
      this.waiting = []
      document.body.append(frame)
    }
    postMessage(data) {
      if (this.inside) this.inside.dispatchEvent(new MessageEvent("message", { data }))
      else this.waiting.push(data)
    }
  }
}
