// What is typed here stays in this page: nothing is kept, and the address can't name another document.
SwaggerUIBundle({
  url: "openapi.json",
  domNode: document.getElementById("api"),
  presets: [SwaggerUIBundle.presets.apis],
  queryConfigEnabled: false,
  persistAuthorization: false,
  validatorUrl: null,
  deepLinking: true,
  docExpansion: "none",
  defaultModelsExpandDepth: -1,
  displayRequestDuration: true,
  filter: true,
});
